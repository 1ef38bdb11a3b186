# `api` is a capsule named "tenure._core.capsule.api" around the table of `tenure/capi.hpp`.
api: object
