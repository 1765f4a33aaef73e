// one_thread.h - a test of the stack is one thread: it needs no lock, and says so to clang once
#pragma once

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif
