/**
 * Imported early by each service. Every file call and name lookup holds a thread of libuv's pool, and the default four are soon used up when a file system
 * hangs. Waiting threads cost next to nothing. The pool is created on first use, so setting this here works however the program is started:
 * https://docs.libuv.org/en/v1.x/threadpool.html
 */
process.env['UV_THREADPOOL_SIZE'] ??= '32';
