CODE_NAMES: dict[int, str]
ROLE_NAMES: dict[int, str]
MESSAGE_TYPE_NAMES: dict[int, str]
ENTRY_KIND_NAMES: dict[int, str]
CHANGE_LETTERS: dict[int, str]
PROGRESS_STATE_NAMES: dict[int, str]
ESCAPES: dict[str, str]

def quote(data: bytes) -> str: ...
