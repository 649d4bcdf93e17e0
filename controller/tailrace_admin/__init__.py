"""`tailrace admin`: a broker administered from the command line, over its HTTP API alone (docs/http-api.md).

One file a noun; each adds its words to the tree of main.py, and completion.py renders that tree for shells. Exit
status: 0 done, 1 refused by the broker, 2 wrong usage, 3 no broker there.
"""
