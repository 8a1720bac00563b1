import { Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Server } from 'node:http';

/** Where this program listens, which with port 0 is known only once it does. */
@Injectable()
export class ListenAddress {
  constructor(private readonly adapterHost: HttpAdapterHost) {}

  /** The port on 127.0.0.1; null: it does not listen there, or not yet. */
  loopbackPort(): number | null {
    const address = this.server().address();
    if (typeof address !== 'object' || address === null) return null;
    return ['127.0.0.1', '0.0.0.0', '::'].includes(address.address) ? address.port : null;
  }

  /** Calls once, when the program begins to listen; at once when it does. */
  whenListening(call: () => void): void {
    const server = this.server();
    if (server.listening) call();
    else server.once('listening', call);
  }

  private server(): Server {
    // The adapter types it any; the programs here run on Node's own server.
    return this.adapterHost.httpAdapter.getHttpServer() as Server;
  }
}
