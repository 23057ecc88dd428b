#import <QwipSpec/QwipSpec.h>

// The native module over the Swift wrapper. NativeQwipSpec is what React Native generates from src/NativeQwip.ts.
@interface RCTQwip : NSObject <NativeQwipSpec>
@end
