"""Copy the README's picture, a trained model's attention, out of notebook 08.

python tools/picture.py
"""

import base64

from notebooks import ROOT, read

NOTEBOOK = ROOT / "notebooks/08_transformer.ipynb"
PICTURE = ROOT / ".github/attention.png"
TITLE = "after training"


def main():
    """Find the picture by the words that its cell writes above it."""
    for cell in read(NOTEBOOK).cells:
        for output in cell.get("outputs", []):
            if TITLE in cell.source and "image/png" in output.get("data", {}):
                PICTURE.write_bytes(base64.b64decode(output.data["image/png"]))
                return
    raise SystemExit(f"no picture in {NOTEBOOK.name} comes from a cell that says '{TITLE}'")


if __name__ == "__main__":
    main()
