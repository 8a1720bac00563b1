import { applyDecorators } from '@nestjs/common';
import { registerDecorator } from 'class-validator';
import { normalisedInstant } from '../../kernel/instant.js';
import { Converted } from './conversion.js';

/**
 * A member that is an RFC 3339 date and time, such as `2026-11-21T10:30:00Z`. The handler receives it normalised: UTC with milliseconds.
 * Week dates, ordinal dates, dates that do not exist, and times without a zone are refused.
 */
export function IsInstant(): PropertyDecorator {
  return applyDecorators(Converted(normalisedInstant), (target: object, property: string | symbol) => {
    registerDecorator({
      name: 'isInstant',
      target: target.constructor,
      propertyName: String(property),
      validator: {
        validate: (value) => normalisedInstant(value) !== null,
        defaultMessage: () => `${String(property)} must be an RFC 3339 date and time, such as 2026-11-21T10:30:00Z`,
      },
    });
  });
}
