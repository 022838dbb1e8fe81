"""What Onrush's own API raises."""


class Error(RuntimeError):
    """A model or a call that Onrush cannot work with; the text says where and what to do.

    ``code`` is one of "invalid model", "invalid argument", "not found", "unsupported",
    "out of memory", "cancelled" and "internal error" (a defect of Onrush; please report it).
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

    def __reduce__(self):
        return type(self), (self.code, str(self))
