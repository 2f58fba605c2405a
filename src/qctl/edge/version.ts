/** The version of qctl that this function was written by; replaced when it is written. */
export const VERSION = "0.0.0";
