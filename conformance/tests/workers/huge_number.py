"""Counts to a number with five thousand digits."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write(f'{{"id": {request["id"]}, "result": {{"y": {"9" * 5_000}}}}}')


if __name__ == "__main__":
    Worker().main()
