"""Says what CUDA says when it can compute no more."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        message = "CUDA error: an illegal memory access was encountered"
        self.say({"id": answer["id"], "error": {"type": "RuntimeError", "message": message}})


if __name__ == "__main__":
    Worker().main()
