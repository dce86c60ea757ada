/** The version of this package, for telemetry and for people. A test compares it with `package.json`. */
export const version = "0.1.0";
