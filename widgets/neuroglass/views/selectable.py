"""Views with one selected place: a row and a token in it."""

from __future__ import annotations

from typing import Any

import traitlets as t

from neuroglass.views.base import View


class Selectable(View):
    """Base of views of rows over tokens.

    Traits:
        selected: (row, position) of the selected place, or None. Settable.
        token: the position alone, for links with other views of the same text. Settable; one that
            the picture does not have is let be, since a linked text may be longer.
    """

    selected: Any = t.Tuple(t.Int(), t.Int(), allow_none=True, default_value=None).tag(sync=True)
    token = t.Int(allow_none=True, default_value=None).tag(sync=True)

    def _has_place(self, row: int, position: int) -> bool:
        """The picture has this row and token."""
        raise NotImplementedError

    def _row_for_token(self) -> int:
        """The row that a token is selected in where none was before."""
        return 0

    @t.observe("selected")
    def _selected_to_token(self, change: Any) -> None:
        self.token = None if change["new"] is None else change["new"][1]

    @t.observe("token")
    def _token_to_selected(self, change: Any) -> None:
        position, now = change["new"], self.selected
        if position is None:
            self.selected = None
        elif now is None or now[1] != position:
            row = self._row_for_token() if now is None else now[0]
            if self._has_place(row, position):
                self.selected = (row, position)
