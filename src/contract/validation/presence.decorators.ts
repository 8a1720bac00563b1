import { ValidateIf } from 'class-validator';

/** A member that may be left out. `null` is a value and is checked like any other, so it is refused unless `Nullable` allows it. */
export function Optional(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined);
}

/** A member for which `null` is a value of its own. Leaving it out is refused. */
export function Nullable(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== null);
}

/** A member that may be left out or be `null`; both mean the same. Its OpenAPI schema must say `nullable`. */
export function OptionalOrNull(): PropertyDecorator {
  return ValidateIf((_, value: unknown) => value !== undefined && value !== null);
}
