import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { PROBLEM_MEDIA_TYPE, titleOf } from './problem.js';

/** Input that Node's HTTP parser refuses never becomes a request; answer it like any other refusal and close the connection. */
export function answerParserErrors(server: Server): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const [status, code, detail] = refusalOf(error.code);
    const body = problem(status, code, detail);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Connection: close',
      `Content-Type: ${PROBLEM_MEDIA_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(417, { 'Content-Type': PROBLEM_MEDIA_TYPE, Connection: 'close' });
    response.end(problem(417, 'expectation_failed', 'The only supported expectation is "100-continue".'));
  });
}

function refusalOf(code: string | undefined): readonly [status: number, code: string, detail: string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'headers_too_large', 'The head of the request is too large.'];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return [413, 'body_too_large', 'The chunk extensions of the body are too large.'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'request_timeout', 'The request was not received in time.'];
    default:
      return [400, 'malformed_request', 'This is not a valid HTTP/1.1 request.'];
  }
}

function problem(status: number, code: string, detail: string): string {
  return JSON.stringify({ type: `urn:sendense:problem:${code}`, title: titleOf(code), status, code, detail });
}
