"""One partition replica, as pure rules: offsets, pending appends, producers, leader epochs, indexes, retention."""
