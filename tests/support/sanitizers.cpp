// What the sanitizers, where the tests are built with one, have to know about libraries that are not.

extern "C" {

// HDF5 loses some memory of its own while it refuses a damaged file.
const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

// HDF5 and OpenSSL synchronise in ways that the sanitizer cannot see.
const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }
}
