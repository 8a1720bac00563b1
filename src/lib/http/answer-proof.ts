import type { NextFunction, Request, Response } from 'express';
import { answerProof, PROOF_HEADER } from '../signed-calls/call-signature.js';
import { requestState } from './request-state.js';

/** Adds to the answer of a signed call a proof that the sender has the token. Streamed answers carry none: their body is unknown when the headers are sent. */
export function proveAnswers(request: Request, response: Response, next: NextFunction): void {
  const end = response.end.bind(response);
  const proving = (...given: readonly unknown[]): Response => {
    const { answerTo } = requestState(request);
    const [body] = given;
    if (answerTo !== null && !response.headersSent) {
      const known = typeof body === 'string' || body instanceof Uint8Array ? body : '';
      response.setHeader(PROOF_HEADER, answerProof(answerTo.token, answerTo.nonce, response.statusCode, known));
    }
    // `end` has several signatures; the arguments are passed on unchanged.
    return Reflect.apply(end, response, given) as Response;
  };
  response.end = proving as typeof response.end; // the same signatures, passed through
  next();
}
