# Compiled code only.
