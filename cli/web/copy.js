// Copying, for the buttons of several pages.

/** Copies a text. Reports whether that worked. */
export async function copyText(text) {
  // Browsers have navigator.clipboard for https:// and for their own machine only, and a class opens http://192.168.0.7.
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const area = document.createElement('textarea');
    area.className = 'offscreen';
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    focused?.focus();
    return isCopied;
  }
}
