"""``python -m masterjob``: the command line."""

from masterjob.cli.app import app

if __name__ == "__main__":
    app(prog_name="masterjob")
