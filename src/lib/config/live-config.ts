import { type ConfigSources, fileKey, loadConfig, type LoadableConfig } from './load-config.js';

export interface SettingChange {
  /** As in the file: snake_case. */
  readonly setting: string;
  /** Omitted for secret settings. */
  readonly from?: unknown;
  readonly to?: unknown;
}

export interface ReloadReport {
  /** In effect from now on. */
  readonly changed: readonly SettingChange[];
  /** Settings whose configured value differs from the one in effect and applies only after a restart. */
  readonly needsRestart: readonly string[];
}

/**
 * A configuration of which some settings can be replaced while the program runs. All users share the one `settings` object and read each setting when they need
 * it: all reloadable settings change at the same moment, the others never change.
 */
export class LiveConfig<Config extends LoadableConfig & object> {
  readonly settings: Config;
  private current: Config;
  private readonly listeners: ((report: ReloadReport) => void)[] = [];

  /** @param overrides values that the program determined at startup; a reload does not change them */
  constructor(
    private readonly configClass: new () => Config,
    loaded: Config,
    private readonly overrides: Partial<Config> = {},
  ) {
    this.current = loaded;
    // Has the class as its prototype and a getter for each of the class's fields.
    const view = Object.create(configClass.prototype as object) as Config;
    for (const field of Object.keys(loaded)) {
      const get = (): unknown => (field in overrides ? Reflect.get(overrides, field) : Reflect.get(this.current, field));
      Object.defineProperty(view, field, { enumerable: true, get });
    }
    this.settings = Object.freeze(view);
  }

  /** Called after each reload that changed something. */
  onChange(listener: (report: ReloadReport) => void): void {
    this.listeners.push(listener);
  }

  /**
   * Reads the configuration from its sources again.
   * @throws ConfigError naming every problem; the settings then stay unchanged
   */
  reload(sources: ConfigSources): ReloadReport {
    const found = loadConfig(this.configClass, sources);
    const reloadable = new Set(found.reloadableFields().filter((field) => !(field in this.overrides)));
    const secret = found.secretFields();
    const different = Object.keys(found).filter((field) => JSON.stringify(Reflect.get(found, field)) !== JSON.stringify(Reflect.get(this.current, field)));
    const kept = Object.fromEntries(
      Object.keys(found).flatMap((field) => (reloadable.has(field) ? [] : [[field, Reflect.get(this.current, field) as unknown]])),
    );
    const next = Object.freeze(Object.assign(new this.configClass(), found, kept));
    const changed = different
      .filter((field) => reloadable.has(field))
      .map((field) => ({
        setting: fileKey(field),
        ...(secret.includes(field) ? {} : { from: Reflect.get(this.current, field), to: Reflect.get(next, field) }),
      }));
    const report = { changed, needsRestart: different.filter((field) => !reloadable.has(field)).map(fileKey) };
    this.current = next;
    if (changed.length > 0) for (const listener of this.listeners) listener(report);
    return report;
  }
}
