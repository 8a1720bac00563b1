import { Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Server } from 'node:http';

/** The address on which this program listens; with port 0 it is known only once the program listens. */
@Injectable()
export class ListenAddress {
  constructor(private readonly adapterHost: HttpAdapterHost) {}

  /** The port on 127.0.0.1; null: not listening there, or not yet. */
  loopbackPort(): number | null {
    const address = this.server().address();
    if (typeof address !== 'object' || address === null) return null;
    return ['127.0.0.1', '0.0.0.0', '::'].includes(address.address) ? address.port : null;
  }

  /** Calls once when the program starts to listen, or immediately if it already does. */
  whenListening(call: () => void): void {
    const server = this.server();
    if (server.listening) call();
    else server.once('listening', call);
  }

  private server(): Server {
    // The adapter types it as any; all programs here run on Node's own server.
    return this.adapterHost.httpAdapter.getHttpServer() as Server;
  }
}
