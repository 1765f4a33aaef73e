// thread_annotations.h - clang's thread-safety analysis, nothing elsewhere
#pragma once

#if defined(__clang__)
#define UP_ATTRIBUTE(x) __attribute__((x))
#else
#define UP_ATTRIBUTE(x)
#endif

#define UP_CAPABILITY(name) UP_ATTRIBUTE(capability(name))
#define UP_SCOPED_CAPABILITY UP_ATTRIBUTE(scoped_lockable)
#define UP_GUARDED_BY(x) UP_ATTRIBUTE(guarded_by(x))
#define UP_REQUIRES(...) UP_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define UP_EXCLUDES(...) UP_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define UP_ACQUIRE(...) UP_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define UP_RELEASE(...) UP_ATTRIBUTE(release_capability(__VA_ARGS__))
#define UP_TRY_ACQUIRE(...) UP_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define UP_NO_THREAD_SAFETY UP_ATTRIBUTE(no_thread_safety_analysis)
