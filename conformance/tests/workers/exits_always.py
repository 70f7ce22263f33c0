"""Ends in every training pass."""

import os

from polite import Polite


class Worker(Polite):
    def strikes(self, request):
        return request["training"]

    def strike(self, request, answer):
        os._exit(3)


if __name__ == "__main__":
    Worker().main()
