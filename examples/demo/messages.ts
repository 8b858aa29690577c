/** The messages of the demo, byte for byte as they are sent. */

/** The original's seed message: no modifiedTime, spaces where it has spaces. */
export const ORIGINAL =
  '{"serviceId":"productInfoService","id":200,"name":"iphone7","price":5599,"pictureList":"a.jpg,b.jpg ","specification":"iphone7  ","service":"iphone7  ","color":"red ","size":"5.5 ","shopId":300}';

/** The original's message as its source would send it later: another price, and when it was changed. */
export function productMessage(price: number, modifiedTime: Date): string {
  const closing = `,"modifiedTime":"${modifiedTime.toISOString()}"}`;
  return ORIGINAL.replace('"price":5599', `"price":${price}`).replace(/\}$/, closing);
}

export const DELETE = '{"serviceId":"productInfoService","id":200,"op":"delete"}';

/** Half of a message: no retry will ever make it JSON. */
export const POISON = ORIGINAL.slice(0, 60);

/** Names the record that changed and carries nothing of it. */
export const THIN = '{"serviceId":"shopInfoService","id":300}';

export const SHOP = { id: 300, name: 'the shop at the corner', level: 5, goodCommentRate: 0.99, version: 17 };
