/**
 * Imported early by each service. Calls to files hold a thread of libuv's pool each, look-ups of names use it too, and four are soon held where a file system hangs. Threads that wait cost
 * next to nothing. The pool is made at its first use, so this is set from within, however the program is started: https://docs.libuv.org/en/v1.x/threadpool.html
 */
process.env['UV_THREADPOOL_SIZE'] ??= '32';
