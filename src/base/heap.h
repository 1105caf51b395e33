// Memory of the C library's heap.
#pragma once

namespace panda {

// Lets the heap grow in large steps that lie in large pages, where the host has such: what the engine keeps about
// its translations comes in tens of thousands of small pieces, and page faults cost as much as making some of them.
// Once, early in main(); does nothing where the C library cannot.
void use_large_heap_pages();

}  // namespace panda
