import { describe, expect, it } from '@jest/globals';
import { instantOf, knownZone, wallNear, wallOf } from './time-zone.plan.js';

const wall = (text: string): number => Date.parse(`${text}:00Z`);
const instant = (text: string, zone: string): string => new Date(instantOf(wall(text), zone)).toISOString();

describe('a time zone', () => {
  it.each([
    ['Europe/Berlin', 'Europe/Berlin'],
    ['europe/berlin', 'Europe/Berlin'],
    ['UTC', 'UTC'],
  ])('%s is known as %s', (name, known) => {
    expect(knownZone(name)).toBe(known);
  });

  it.each(['Europe/Bielefeld', '', '+02:00', 'Mars'])('"%s" is refused with field and rule', (name) => {
    expect(() => knownZone(name)).toThrow(expect.objectContaining({ code: 'time_zone_unknown', facts: { field: 'time_zone', rule: 'known_zone' } }));
  });
});

describe('a time on the wall', () => {
  it.each([
    ['UTC', '2027-06-01T12:00', '2027-06-01T12:00:00.000Z'],
    ['Europe/Berlin', '2027-06-01T12:00', '2027-06-01T10:00:00.000Z'],
    ['Pacific/Kiritimati', '2027-06-01T12:00', '2027-05-31T22:00:00.000Z'],
    ['Asia/Kathmandu', '2027-06-01T12:00', '2027-06-01T06:15:00.000Z'],
  ])('in %s %s is %s', (zone, text, expected) => {
    expect(instant(text, zone)).toBe(expected);
    expect(wallOf(Date.parse(expected), zone)).toBe(wall(text));
  });

  it.each([
    ['Europe/Berlin', '2027-03-28T02:30', '2027-03-28T01:00:00.000Z'],
    ['America/New_York', '2027-03-14T02:30', '2027-03-14T07:00:00.000Z'],
    ['Australia/Lord_Howe', '2027-10-03T02:15', '2027-10-02T15:30:00.000Z'],
    // The day that Samoa left out when it crossed the date line.
    ['Pacific/Apia', '2011-12-30T12:00', '2011-12-30T10:00:00.000Z'],
  ])('that %s skips (%s) is the first valid instant after it', (zone, text, expected) => {
    expect(instant(text, zone)).toBe(expected);
  });

  it.each([
    ['Europe/Berlin', '2027-10-31T02:30', '2027-10-31T00:30:00.000Z'],
    ['America/New_York', '2027-11-07T01:30', '2027-11-07T05:30:00.000Z'],
    ['Australia/Lord_Howe', '2027-04-04T01:45', '2027-04-03T14:45:00.000Z'],
  ])('that %s has twice (%s) is the first of the two', (zone, text, expected) => {
    expect(instant(text, zone)).toBe(expected);
  });

  it.each([
    ['Europe/Berlin', '2027-10-31T00:00:00.000Z'],
    ['Australia/Lord_Howe', '2027-04-03T14:00:00.000Z'],
    ['Asia/Kathmandu', '2027-06-01T00:00:00.000Z'],
  ])('in %s is the same if what was looked up is kept', (zone, from) => {
    for (let minute = 0; minute < 180; minute += 5) {
      const at = Date.parse(from) + minute * 60_000;
      expect(wallNear(at, zone)).toBe(wallOf(at, zone));
    }
  });
});
