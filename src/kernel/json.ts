/** A value that can be stored in an event or sent over HTTP without loss. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** `undefined` members are allowed because JSON serialisation drops them. */
export type JsonObject = { readonly [key: string]: JsonValue | undefined };
