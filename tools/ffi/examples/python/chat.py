"""A chat on the console: python3 chat.py PATH_TO_LIBQWIP MODEL.gguf

Thinking is shown in grey. Ctrl-C stops an answer; at the prompt it leaves, as Ctrl-D does.
"""

import sys

import qwip


def answer(session: qwip.Session, messages: list) -> str:
    """Shows an answer while it comes and returns its text, or what there is of it if Ctrl-C ended it."""
    text = ""
    grey, plain = ("\x1b[90m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    try:
        for event in session.stream(messages):
            if event.kind == qwip.Kind.REASONING:
                print(f"{grey}{event.data}{plain}", end="", flush=True)
            elif event.kind == qwip.Kind.TEXT:
                text += event.data
                print(event.data, end="", flush=True)
    except KeyboardInterrupt:  # leaving the loop has cancelled the request
        print(" ...", end="")
    print()
    return text


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    try:
        library = qwip.Library(sys.argv[1])
        with library.model(sys.argv[2]) as model, model.session() as session:
            info = model.info()
            print(f"{info.get('name') or info['architecture']}, libqwip {library.version}")
            messages: list = []
            while True:
                try:
                    said = input("> ")
                except (EOFError, KeyboardInterrupt):
                    print()
                    return 0
                if not said.strip():
                    continue
                messages.append({"role": "user", "content": said})
                try:
                    # The session still holds the turns before: only what is new is evaluated.
                    messages.append({"role": "assistant", "content": answer(session, messages)})
                except qwip.QwipError as error:
                    messages.pop()
                    print(f"error: {error}", file=sys.stderr)
    except (qwip.QwipError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
