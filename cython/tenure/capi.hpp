// The C interface of tenure, for other compiled servers: a table of functions behind the capsule
// "tenure._core.capsule.api". No library is linked: import tenure, fetch the table once, keep it for the process's life.
//
// Rules. `tenure_import` and `tenure_fence_from_object` need the GIL (or an attached thread); everything else needs
// neither the GIL nor a Python thread, never blocks, and may be called from any thread. A fence handle is counted: what was
// taken from an object or retained is released once. It may outlive the object and the engine; then it only says no.
//
// Versions. `version` changes when a function changes its meaning; functions are only ever added at the end, and
// `size_bytes` tells how far the table of the installed tenure reaches.
#pragma once
#include <Python.h>

#include <stddef.h>
#include <stdint.h>

#define TENURE_CAPI_NAME "tenure._core.capsule.api"
#define TENURE_CAPI_VERSION 1u

typedef struct tenure_fence tenure_fence;  // opaque

typedef struct tenure_capi {
    uint32_t version;
    uint32_t size_bytes;
    tenure_fence* (*fence_from_object)(PyObject* object);  // a new reference, or null with an exception set
    tenure_fence* (*fence_retain)(tenure_fence* handle);
    void (*fence_release)(tenure_fence* handle);
    int64_t (*fence_try_lease_read)(tenure_fence* handle);  // the applied index, or -1: confirm with a quorum
    int64_t (*fence_applied_index)(tenure_fence* handle);   // the applied index, fenced by nothing
    int64_t (*fence_lease_remaining_ns)(tenure_fence* handle);  // 0 without a lease
} tenure_capi;

// The table, once tenure_import succeeded in this translation unit.
static const tenure_capi* tenure_api = NULL;

// 0, or -1 with an exception set (ImportError also for a table that is too old).
static inline int tenure_import(void) {
    PyObject* module = PyImport_ImportModule("tenure._core.capsule");
    if (module == NULL) return -1;
    PyObject* capsule = PyObject_GetAttrString(module, "api");
    Py_DECREF(module);
    if (capsule == NULL) return -1;
    const tenure_capi* table = (const tenure_capi*)PyCapsule_GetPointer(capsule, TENURE_CAPI_NAME);
    Py_DECREF(capsule);  // the table is static: it outlives the capsule
    if (table == NULL) return -1;
    if (table->version != TENURE_CAPI_VERSION || table->size_bytes < sizeof(tenure_capi)) {
        PyErr_Format(PyExc_ImportError,
                     "tenure's C interface is version %u (%u bytes); this module was built for version %u (%u bytes)",
                     table->version, table->size_bytes, TENURE_CAPI_VERSION, (unsigned)sizeof(tenure_capi));
        return -1;
    }
    tenure_api = table;
    return 0;
}

static inline tenure_fence* tenure_fence_from_object(PyObject* object) { return tenure_api->fence_from_object(object); }
static inline tenure_fence* tenure_fence_retain(tenure_fence* handle) { return tenure_api->fence_retain(handle); }
static inline void tenure_fence_release(tenure_fence* handle) { tenure_api->fence_release(handle); }
static inline int64_t tenure_fence_try_lease_read(tenure_fence* handle) {
    return tenure_api->fence_try_lease_read(handle);
}
static inline int64_t tenure_fence_applied_index(tenure_fence* handle) { return tenure_api->fence_applied_index(handle); }
static inline int64_t tenure_fence_lease_remaining_ns(tenure_fence* handle) {
    return tenure_api->fence_lease_remaining_ns(handle);
}
