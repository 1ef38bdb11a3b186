# Compiled code only; Python uses `tenure._net.endpoint`.
CLOSE_REASON_NAMES: dict[int, str]
