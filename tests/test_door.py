"""What the packages offer by name: light to import, complete, and the same for people, Python and type checkers."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import shm_data
import shm_model

DOORS = [shm_data, shm_model]
HEAVY = {"numpy", "cv2", "PIL", "pydantic", "numba", "joblib", "torch", "click", "yaml"}


def typed_names(package):
    """The imports that type checkers see: name at the door -> (module, name there)."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    found = {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}
    for node in block.body:  # names that differ from those of the functions, as modules have these already
        if isinstance(node, ast.Assign):
            for name, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                found[name.id] = found.pop(value.id)
    return found


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_importing_a_package_loads_nothing_heavy(package):
    script = f"import sys, {package.__name__}; print({HEAVY!r} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_every_name_is_what_its_module_defines_and_what_type_checkers_see(package):
    typed = typed_names(package)
    assert sorted(package.__all__) == sorted(typed)
    for name, (module, attribute) in typed.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), attribute)
        assert inspect.getdoc(getattr(package, name))
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_no_name_hides_a_module(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("package", DOORS, ids=lambda package: package.__name__)
def test_packages_are_typed(package):
    assert Path(package.__file__).with_name("py.typed").is_file()
