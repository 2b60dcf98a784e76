"""The error that a person sees as one line."""


class UserError(Exception):
    """Something that the user can mend; its text names the file, key or host and what to do.

    Entry points print it as one line and exit with status 2. Anything else that escapes is a bug of ours
    and keeps its traceback.
    """
