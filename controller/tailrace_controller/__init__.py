"""The controller: who is in the cluster, which topics there are, and where all data lies in the object store."""
