import { readFile } from 'node:fs/promises';
import { connect, type OnReadOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { greet, IncomingBytes, NbdHandshakeRefusedError, startTls } from './nbd-negotiation.js';
import { keyInPskFile, type NbdAddress, PSK_USER } from './nbd-uri.js';

/** A connection to an NBD server. */
export interface NbdSocket {
  readonly socket: Socket;
  /** The greeting was already exchanged, because TLS is negotiated within it. */
  readonly greeted: boolean;
}

/**
 * Connects. If the address has a key, TLS is established when this resolves, and the server has proved that it has the key.
 * @param onread as for `net.connect`; with TLS, data arrives in `data` events instead
 * @throws NbdHandshakeRefusedError, a system error such as ECONNREFUSED, or the signal's reason
 */
export async function openNbdSocket(address: NbdAddress, signal: AbortSignal, onread?: OnReadOpts): Promise<NbdSocket> {
  const { keyFile } = address;
  if (keyFile === undefined) return { socket: connectTo(address, onread), greeted: false };
  const key = Buffer.from(keyInPskFile(await readFile(keyFile, 'utf8')), 'hex');
  signal.throwIfAborted();
  const plain = connectTo(address);
  const abort = (): void => void plain.destroy(signal.reason as Error); // an abort reason is whatever the caller chose to throw
  signal.addEventListener('abort', abort);
  try {
    await askForTls(plain);
    return { socket: await secured(plain, key), greeted: true };
  } catch (error) {
    plain.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Connects, talks to the server, and disconnects. @throws as `openNbdSocket`, and errors of `talk` */
export async function withNbdServer<Result>(
  address: NbdAddress,
  signal: AbortSignal,
  talk: (incoming: IncomingBytes, write: (bytes: Uint8Array) => void, greeted: boolean) => Promise<Result>,
): Promise<Result> {
  signal.throwIfAborted();
  const { socket, greeted } = await openNbdSocket(address, signal);
  const abort = (): void => void socket.destroy(signal.reason as Error); // an abort reason is whatever the caller chose to throw
  signal.addEventListener('abort', abort);
  const incoming = new IncomingBytes();
  socket.on('data', (bytes) => incoming.push(bytes));
  socket.on('error', (error) => incoming.end(error));
  socket.once('close', () => incoming.end(new NbdHandshakeRefusedError('the server closed the connection')));
  try {
    return await talk(incoming, (bytes) => socket.write(bytes), greeted);
  } finally {
    signal.removeEventListener('abort', abort);
    socket.destroySoon();
  }
}

function connectTo(address: NbdAddress, onread?: OnReadOpts): Socket {
  const reading = onread === undefined ? {} : { onread };
  const socket = 'socket' in address ? connect({ path: address.socket, ...reading }) : connect({ host: address.host, port: address.port, ...reading });
  return socket.setNoDelay(true);
}

async function askForTls(plain: Socket): Promise<void> {
  const incoming = new IncomingBytes();
  const onData = (bytes: Buffer): void => incoming.push(bytes);
  const onClose = (): void => incoming.end(new NbdHandshakeRefusedError('the server closed the connection'));
  plain.on('data', onData);
  plain.on('error', (error) => incoming.end(error));
  plain.once('close', onClose);
  plain.write(await greet(incoming));
  await startTls(incoming, (bytes) => plain.write(bytes));
  plain.off('data', onData);
  plain.off('close', onClose);
}

/** TLS 1.3 without certificates: only a holder of the key can be at the other end. */
function secured(plain: Socket, key: Buffer): Promise<TLSSocket> {
  const options: ConnectionOptions = {
    socket: plain,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    ca: [],
    pskCallback: () => ({ identity: PSK_USER, psk: key }),
    // A server that presents a certificate, even one of a known authority, has not proved that it has the key.
    checkServerIdentity: (_host, certificate) => (hasContent(certificate) ? new Error('the server has a certificate instead of the key') : undefined),
  };
  return new Promise((resolve, reject) => {
    const socket = connectTls(options);
    socket.once('error', (error: Error) => reject(new NbdHandshakeRefusedError(`TLS was refused, so the keys differ: ${error.message}`, { cause: error })));
    socket.once('close', () => reject(new NbdHandshakeRefusedError('the server closed the connection before TLS was established')));
    socket.once('secureConnect', () => {
      if (hasContent(socket.getPeerCertificate())) socket.destroy(new Error('the server has a certificate instead of the key'));
      else resolve(socket);
    });
  });
}

function hasContent(certificate: object | null): boolean {
  return Object.keys(certificate ?? {}).length > 0;
}
