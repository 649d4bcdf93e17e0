"""The vocabulary that all components of Tailrace share. Pure: no I/O, no clock."""
