"""What the black-box tests share: the server under test, the stores behind it, and the programs that talk to it.

Everything here runs the shipped release binary and knows nothing of its insides. Only the standard library is used, so that the
conformance runner and the crash tests need no virtual environment.
"""
