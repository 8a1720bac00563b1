import { connect } from 'node:net';

const DEADLINE_MS = 10_000;
const LONGEST = 255;

/**
 * The first line that a server sends; an SSH server sends `SSH-2.0-...` first (RFC 4253, 4.2). @throws Error when nothing listens, or no line arrives in time
 */
export async function readBanner(host: string, port: number): Promise<string> {
  const socket = connect({ host, port, timeout: DEADLINE_MS });
  try {
    return await new Promise<string>((resolve, reject) => {
      let heard = '';
      socket.setEncoding('utf8');
      socket.on('data', (chunk: string) => {
        heard += chunk;
        const end = heard.search(/\r?\n/);
        if (end !== -1 || heard.length > LONGEST) resolve(heard.slice(0, end === -1 ? LONGEST : end));
      });
      socket.on('timeout', () => reject(new Error(`it sent nothing within ${DEADLINE_MS} ms`)));
      socket.on('end', () => reject(new Error('it closed the connection without sending anything')));
      socket.on('error', reject);
    });
  } finally {
    socket.destroy();
  }
}
