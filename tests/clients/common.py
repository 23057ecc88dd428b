"""What the tests of all clients share: arguments, and a list of checks that are run one after the other."""

import argparse
import sys
import traceback


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="the server, as http://127.0.0.1:8080")
    parser.add_argument("--model", required=True, help="a model for conversations")
    parser.add_argument("--embedding-model", help="a model for embeddings")
    parser.add_argument("--api-key", default="none")
    return parser.parse_args()


def run(*checks):
    """Runs all checks, prints a line for each, and ends with the status 1 if one has failed."""
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok      {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}")
            traceback.print_exc(file=sys.stdout)
    print(f"{sys.argv[0]}: {len(checks)} checks, {failed} failed")
    sys.exit(bool(failed))


def fails(error, call):
    """What `call` raises, which must be of the class `error`."""
    try:
        call()
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__}")
