"""JSON as Go writes it means the same as before."""

import json

from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.encoding import as_go

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.recursive(
        TEXTS | st.integers() | st.booleans() | st.none(), lambda of: st.lists(of) | st.dictionaries(TEXTS, of)
    )
)
def test_it_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(as_go(value)) == value


def test_what_go_escapes_is_escaped_and_nothing_else() -> None:
    assert as_go(["a && b > c", "Grüße", '"\n']) == '["a \\u0026\\u0026 b \\u003e c","Grüße","\\"\\n"]'.encode()
