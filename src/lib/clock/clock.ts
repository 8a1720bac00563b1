import { v5, v7 } from 'uuid';
import { Injectable } from '@nestjs/common';

/** The only source of the current time. All other code receives the time as a parameter, so that rules can be tested. */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }
  /** ISO 8601, UTC. */
  iso(): string {
    return this.now().toISOString();
  }
}

/** The only source of new ids. */
@Injectable()
export class Ids {
  /** A new time-ordered UUID (version 7). */
  next(): string {
    return v7();
  }
}

const NAMESPACE = '6f0d2b0e-6f5e-4c52-9f0a-3f2d1c7a9e10';

/** The same name always yields the same UUID (version 5), so that repeating work reuses the same id. */
export function derivedId(name: string): string {
  return v5(name, NAMESPACE);
}
