"""One table says what options there are: commands and checks follow it."""

import subprocess
import sys

import click
import pytest

from cli.data import data
from shm_data.errors import ShmDataError
from shm_data.options import CompositeOptions, TrimapOptions
from shm_data.options.table import PUBLISHED_OPTIONS, SET_OPTIONS, TABLE, TRIMAP_OPTIONS

# Options that depend on another option, with what they need here.
COMPANY = {
    "inalp": {"inimg": "x"},
    "intri": {"inimg": "x"},
    "decoys": {"inimg": "x"},
    "trimapdir": {"pubdir": "x"},
    "maskimg": {"inmask": "x"},
    "inmask": {"maskimg": "x"},
    "vocset": {"vocroot": ["x"]},
}
COMPANY |= {"vocset": {"vocroot": ["x"]}, "quality": {"format": "jpg"}, "layout": {"inimg": "x"}}


def parameters(command):
    return {parameter.name: parameter for parameter in data.commands[command].params}


def test_table_and_model_have_the_same_options_and_defaults():
    assert TABLE.keys() == CompositeOptions.model_fields.keys()
    assert set(TRIMAP_OPTIONS) == TrimapOptions.model_fields.keys()
    defaults = CompositeOptions()
    for name, option in TABLE.items():
        assert getattr(defaults, name) == (
            ({} if name == "license" else option.default or ()) if option.repeated else option.default
        )


@pytest.mark.parametrize(
    ("command", "names"),
    [("composite", SET_OPTIONS), ("plan", SET_OPTIONS), ("preview", SET_OPTIONS), ("trimap", TRIMAP_OPTIONS),
     ("prepare", PUBLISHED_OPTIONS + SET_OPTIONS), ("check", ("inimg", "inalp", "intri", "prefix", "layout"))],
)  # fmt: skip
def test_commands_have_the_options_of_the_table(command, names):
    found = parameters(command)
    for name in names:
        option, parameter = TABLE[name], found[name]
        assert option.flag in parameter.opts and parameter.multiple == option.repeated
        assert parameter.help.startswith(option.help)
        if option.choices:
            assert isinstance(parameter.type, click.Choice) and tuple(parameter.type.choices) == option.choices


@pytest.mark.parametrize("name", [name for name, option in TABLE.items() if option.choices])
def test_every_choice_is_accepted_and_no_other(name):
    option = TABLE[name]
    company = COMPANY.get(name, {})
    for choice in option.choices:
        value = [choice] if option.repeated else choice
        expected = choice
        if option.repeated:
            expected = () if choice == "none" else (choice,)
        assert getattr(CompositeOptions.checked(**{name: value}, **company), name) == expected
    with pytest.raises(ShmDataError) as caught:
        CompositeOptions.checked(**{name: ["other"] if option.repeated else "other"}, **company)
    assert caught.value.what == option.flag and caught.value.found == "'other'"
    assert all(choice in caught.value.expected for choice in option.choices)


def test_no_augmentation_cannot_be_one_of_several():
    assert CompositeOptions().augment == ("camera",)
    with pytest.raises(ShmDataError) as caught:
        CompositeOptions.checked(augment=["none", "blur"])
    assert "alone" in caught.value.expected


@pytest.mark.parametrize("name", [name for name, option in TABLE.items() if option.limits])
def test_limits_are_the_last_good_values(name):
    option, company = TABLE[name], COMPANY.get(name, {})
    for limit, step in ((option.low, -1), (option.high, 1)):
        if limit is None:
            continue
        assert getattr(CompositeOptions.checked(**{name: limit}, **company), name) == limit
        with pytest.raises(ShmDataError) as caught:
            CompositeOptions.checked(**{name: limit + step}, **company)
        assert (caught.value.what, caught.value.found) == (option.flag, str(limit + step))
        assert option.limits in caught.value.expected


@pytest.mark.parametrize("name", [name for name, option in TABLE.items() if option.needs])
def test_an_option_that_would_do_nothing_alone_is_refused(name):
    CompositeOptions.checked(**{name: "x"}, **COMPANY[name])
    with pytest.raises(ShmDataError) as caught:
        CompositeOptions.checked(**{name: "x"})
    assert TABLE[name].flag in caught.value.what and TABLE[TABLE[name].needs].flag in caught.value.what


def test_an_unknown_option_is_named_with_the_one_that_was_meant():
    with pytest.raises(ShmDataError) as caught:
        CompositeOptions.checked(nubmg=3)
    assert (caught.value.found, caught.value.expected) == ("nubmg", "numbg")


def test_the_first_of_several_faults_is_named():
    with pytest.raises(ShmDataError) as caught:
        CompositeOptions.checked(numbg=-1, trainsplit=3)
    assert caught.value.what == "--numbg"


def test_the_table_needs_the_standard_library_alone():
    script = "import sys, shm_data.options.table; print({'numpy', 'pydantic', 'click'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"
