import type { NextFunction, Request, Response } from 'express';
import { answerProof, PROOF_HEADER } from '../signed-calls/call-signature.js';
import { requestState } from './request-state.js';

/** Answers a signed call with a proof that the answer comes from who has the token. What is streamed in pieces carries none: its body is not known when its headers go out. */
export function proveAnswers(request: Request, response: Response, next: NextFunction): void {
  const end = response.end.bind(response);
  const proving = (...given: readonly unknown[]): Response => {
    const { answerTo } = requestState(request);
    const [body] = given;
    if (answerTo !== null && !response.headersSent) {
      const known = typeof body === 'string' || body instanceof Uint8Array ? body : '';
      response.setHeader(PROOF_HEADER, answerProof(answerTo.token, answerTo.nonce, response.statusCode, known));
    }
    // `end` has several signatures; what came in goes on as it is.
    return Reflect.apply(end, response, given) as Response;
  };
  response.end = proving as typeof response.end; // the same signatures, passed through
  next();
}
