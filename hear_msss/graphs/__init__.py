"""ONNX graphs of the encoder: made, kept, run."""


class WrongGraph(RuntimeError):
    """A graph gives other answers than the module that it was traced from.

    Attributes:
        difference: the largest one, relative to the largest value where that is above 1.
    """

    def __init__(self, difference: float) -> None:
        super().__init__(difference)
        self.difference = difference

    def __str__(self) -> str:
        return (
            f"the exported graph differs from torch by {self.difference:g}, which is more than rounding: use "
            "backend='torch' for embeddings, and report the versions of torch and onnxruntime"
        )
