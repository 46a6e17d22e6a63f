"""Copy the library's definitions into the cells tagged `mirror` of their home notebooks.

The library is the source. Where the two differ as syntax trees, the notebook takes the library's
text; comments and layout are free, so a notebook may comment more.
"""

import ast
import difflib

from notebooks import ROOT, read, write

HOMES = {
    "attention": "01_scaled_dot_product_attention",
    "masks": "02_masks",
    "multi_head": "03_multi_head_attention",
    "embeddings": "04_positional_encoding",
    "feed_forward": "05_feed_forward",
    "encoder": "06_encoder",
    "decoder": "07_decoder",
    "transformer": "08_transformer",
    "training": "09_training",
    "decoding": "10_decoding",
    "attention_maps": "11_attention_maps",
    "break_it": "13_break_it",
}


def homes(root=ROOT):
    """Pair each module with its home notebook, for the notebooks that exist."""
    for module, name in HOMES.items():
        notebook = root / "notebooks" / f"{name}.ipynb"
        if notebook.exists():
            yield root / "transformer_lib" / f"{module}.py", notebook


def name_of(node):
    """Name what a statement defines: a function, a class, a constant; else None."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return getattr(node.targets[0], "id", None)
    return node.target.id if isinstance(node, ast.AnnAssign) else None


def lines_of(node):
    """Return the slice of source lines that a definition takes, decorators included."""
    first = min(n.lineno for n in [node, *getattr(node, "decorator_list", [])])
    return slice(first - 1, node.end_lineno)


def definitions(source):
    """Map each name that a source defines at its top level to (tree, text)."""
    lines = source.splitlines()
    nodes = {name_of(node): node for node in ast.parse(source).body}
    nodes.pop(None, None)
    return {name: (ast.dump(n), "\n".join(lines[lines_of(n)])) for name, n in nodes.items()}


def public(module):
    """Map each name in a module's `__all__` to (tree, text)."""
    source = module.read_text("utf-8")
    found = definitions(source)
    names = ast.literal_eval(found["__all__"][1].partition("=")[2].strip())
    return {name: found[name] for name in names}


def mirror_cells(notebook):
    """List the cells tagged `mirror`."""
    return [cell for cell in notebook.cells if "mirror" in cell.metadata.get("tags", [])]


def differences(module, notebook):
    """Show, as a unified diff, each definition whose tree differs from the library's."""
    library = public(module)
    diff = []
    for cell in mirror_cells(notebook):
        for name, (tree, text) in definitions(cell.source).items():
            if name in library and tree != library[name][0]:
                diff += difflib.unified_diff(
                    text.splitlines(),
                    library[name][1].splitlines(),
                    f"notebook: {name}",
                    f"library: {name}",
                    lineterm="",
                )
    return "\n".join(diff)


def mirror(module, notebook):
    """Copy the definitions that differ into the notebook; return their names."""
    library = public(module)
    copied = []
    for cell in mirror_cells(notebook):
        for node in reversed(ast.parse(cell.source).body):
            name = name_of(node)
            if name in library and ast.dump(node) != library[name][0]:
                lines = cell.source.splitlines()
                lines[lines_of(node)] = library[name][1].splitlines()
                cell.source = "\n".join(lines)
                copied.append(name)
    return copied


def main(root=ROOT):
    """Mirror every module that has a home notebook."""
    for module, path in homes(root):
        notebook = read(path)
        copied = mirror(module, notebook)
        if copied:
            write(path, notebook)
        print(f"{path.name}: {', '.join(copied) or 'up to date'}")


if __name__ == "__main__":
    main()
