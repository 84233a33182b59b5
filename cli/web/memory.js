// What the browser remembers: for this tab, or for this browser. Some browsers forbid it; then nothing is remembered.
const area = (name) => {
  try {
    return window[name];
  } catch {
    return null;
  }
};

const memory = (storage) => ({
  get: (key) => storage?.getItem(`framewise.${key}`) ?? null,
  set: (key, value) => storage?.setItem(`framewise.${key}`, value),
  forget: (key) => storage?.removeItem(`framewise.${key}`),
});

export const tab = memory(area('sessionStorage'));
export const browser = memory(area('localStorage'));
