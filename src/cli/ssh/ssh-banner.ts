import { connect } from 'node:net';

const DEADLINE_MS = 10_000;
const LONGEST = 255;

/** The first line that whoever listens there says; an SSH server says `SSH-2.0-...` unasked (RFC 4253, 4.2). @throws Error when nobody listens, or says nothing in time */
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
      socket.on('timeout', () => reject(new Error(`it said nothing within ${DEADLINE_MS} ms`)));
      socket.on('end', () => reject(new Error('it closed the connection without a word')));
      socket.on('error', reject);
    });
  } finally {
    socket.destroy();
  }
}
