"""What the lab, the crash test and the comparison share: the program under test, trees, networks, scenes.

Python 3 with its standard library alone, so that a fresh clone can run it.
"""
