import { ValidateIf } from 'class-validator';

/** A member that may be absent. `null` is checked like any other value, so it is refused unless `Nullable` allows it. */
export function Optional(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined);
}

/** A member that may be `null` but not absent. */
export function Nullable(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== null);
}

/** A member that may be absent or `null`; both mean the same. Its OpenAPI schema must say `nullable`. */
export function OptionalOrNull(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined && value !== null);
}
