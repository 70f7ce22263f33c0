"""Answers with a field that the protocol has not."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.say({"id": answer["id"], "result": {"output": answer["result"]["y"]}})


if __name__ == "__main__":
    Worker().main()
