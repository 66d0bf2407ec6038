"""What the black-box tests share: the server under test, the stores that it uses, and the programs that talk to it.

Everything here runs the shipped release binary and knows nothing of its insides. Only the standard library is used, so that the
conformance runner and the crash tests need no virtual environment.
"""
